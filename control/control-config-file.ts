/** Reads the control plane's configuration file: YAML, or JSON. */
import { fail } from '../core/errors.ts';
import { controlConfigSchema, type ControlConfig } from '../schemas/control-config.ts';
import { problemText } from './inventory-file.ts';
import { checkYaml, readText } from './yaml-file.ts';

/** @throws `config.invalid` saying where which field is wrong, and how */
export async function readControlConfig(file: string): Promise<ControlConfig> {
  const text = await readText(file).catch((cause: unknown) => {
    throw fail('config.invalid', { file, reason: 'it cannot be read' }, { cause });
  });
  const checked = checkYaml(text, controlConfigSchema);
  if (checked.ok) return checked.value;
  throw fail('config.invalid', { file, reason: checked.problems.map(problemText).join('; ') });
}
