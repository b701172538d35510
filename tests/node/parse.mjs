// Prints as JSON what AsyncAPI's parser has against each document. node parse.mjs DOCUMENT.json…
import { readFileSync } from "node:fs";
import parser from "@asyncapi/parser";

const parsed = [];
for (const file of process.argv.slice(2)) {
  const { document, diagnostics } = await new parser.Parser().parse(readFileSync(file, "utf8"));
  parsed.push({ isValid: document !== undefined, codes: diagnostics.map((each) => each.code) });
}
console.log(JSON.stringify(parsed));
