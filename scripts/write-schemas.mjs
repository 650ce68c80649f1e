// Writes docs/schemas/*.schema.json, for editors, from the zod schemas (dist/, so build first).
// With --stdout it only prints, for the test that holds the files equal to the schemas.
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { z } from 'zod';

import { controlConfigSchema } from '../dist/schemas/control-config.js';
import { inventorySchema } from '../dist/schemas/inventory.js';
import { rolloutPolicySchema } from '../dist/schemas/rollout-policy.js';

const directory = join(dirname(dirname(fileURLToPath(import.meta.url))), 'docs', 'schemas');

const schemas = {
  'inventory.schema.json': ['Quorumshift inventory', inventorySchema],
  'rollout-policy.schema.json': ['Quorumshift rollout policy', rolloutPolicySchema],
  'control-config.schema.json': ['Quorumshift control configuration', controlConfigSchema],
};

// What is read, before defaults are filled in; of the draft that editors' YAML extensions know.
const files = Object.entries(schemas).map(([name, [title, schema]]) => {
  const { $schema, ...rest } = z.toJSONSchema(schema, { io: 'input', target: 'draft-7' });
  return [name, `${JSON.stringify({ $schema, title, ...rest }, null, 2)}\n`];
});

if (process.argv.includes('--stdout')) {
  process.stdout.write(JSON.stringify(Object.fromEntries(files)));
} else {
  mkdirSync(directory, { recursive: true });
  for (const [name, text] of files) writeFileSync(join(directory, name), text);
}
