// Writes TypeScript of each schema twice: by json-schema-to-typescript and by quicktype.
// node generate.mjs SCHEMAS.json OUT, where SCHEMAS.json is [{"name": …, "schema": …}, …].
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { compile } from "json-schema-to-typescript";
import { FetchingJSONSchemaStore, InputData, JSONSchemaInput, quicktype } from "quicktype-core";

const [schemas, out] = process.argv.slice(2);

for (const { name, schema } of JSON.parse(readFileSync(schemas, "utf8"))) {
  writeFileSync(join(out, `${name}.d.mts`), await compile(structuredClone(schema), name, { format: false }));
  const input = new JSONSchemaInput(new FetchingJSONSchemaStore());
  await input.addSource({ name, schema: JSON.stringify(schema) });
  const inputData = new InputData();
  inputData.addInput(input);
  const { lines } = await quicktype({ inputData, lang: "typescript" });
  writeFileSync(join(out, `${name}.quicktype.mts`), lines.join("\n"));
}
