/** Reads a process's own configuration file (JSON). */
import { readFile } from 'node:fs/promises';

import { z } from 'zod';

import { fail } from '../core/errors.ts';

/** @throws `config.invalid` saying which field is wrong and how */
export async function readConfiguration<Config>(
  file: string,
  schema: z.ZodType<Config>,
): Promise<Config> {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (cause) {
    throw fail('config.invalid', { file, reason: 'it cannot be read' }, { cause });
  }
  try {
    const parsed = schema.safeParse(JSON.parse(text));
    if (parsed.success) return parsed.data;
    const reason = z.prettifyError(parsed.error).replaceAll('\n', ' ');
    throw fail('config.invalid', { file, reason });
  } catch (cause) {
    if (!(cause instanceof SyntaxError)) throw cause;
    throw fail('config.invalid', { file, reason: `it is no JSON: ${cause.message}` }, { cause });
  }
}
