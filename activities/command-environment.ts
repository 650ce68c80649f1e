/** What an operator's command sees of the agent's environment. */

/** Variables that commands need to find programs and to speak the operator's language. */
const passedVariables = [
  'PATH',
  'HOME',
  'USER',
  'LOGNAME',
  'SHELL',
  'LANG',
  'LC_ALL',
  'TZ',
  'TMPDIR',
];

/** `added`, and the few variables that every command gets: the agent's own may hold secrets. */
export function commandEnvironment(
  added: Readonly<Record<string, string>>,
): Record<string, string> {
  const passed = passedVariables.flatMap((name) => {
    const value = process.env[name];
    return value === undefined ? [] : [[name, value] as const];
  });
  return { ...Object.fromEntries(passed), ...added };
}
