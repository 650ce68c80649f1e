/** Appends audit lines until it is killed; prints the id of each that was durable. */
import { openControlStore } from '../../control/control-store.ts';

const [controlDir = '', name = ''] = process.argv.slice(2);
const store = await openControlStore({ controlDir });
for (let i = 0; ; i += 1) {
  const id = `${name}-${i}`;
  const entry = { id, by: name, action: 'tick', subject: `cluster/${name}`, reason: '' };
  await store.audit.append({ ...entry, digests: [] });
  process.stdout.write(`${id}\n`);
}
