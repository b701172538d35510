// Decodes examples by what quicktype wrote. node decode.mjs EXAMPLES.json FOLDER, where EXAMPLES.json is
// [{"name": …, "value": …}, …] and FOLDER has the compiled modules. Prints how many.
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";

const [examples, folder] = process.argv.slice(2);
let decoded = 0;

for (const { name, value } of JSON.parse(readFileSync(examples, "utf8"))) {
  const { Convert } = await import(pathToFileURL(resolve(folder, `${name}.quicktype.mjs`)));
  Convert[`to${name}`](JSON.stringify(value));
  decoded += 1;
}
console.log(decoded);
