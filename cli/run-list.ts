/** Lists of migrations and rollouts, one line each. */
import { print, toJson, type OutputFormat } from './output.ts';
import { textTable } from './text-table.ts';

export function printRuns<Run extends { readonly run: string; readonly startedAt: string }>(
  format: OutputFormat,
  runs: readonly Run[],
  text: {
    /** What is listed: `migrations`. */
    readonly what: string;
    /** Whose it is, and its id. */
    readonly names: (run: Run) => readonly [string, string | null];
  },
): void {
  if (format === 'jsonl') {
    for (const run of runs) process.stdout.write(`${toJson(run)}\n`);
    return;
  }
  const { what, names } = text;
  print(format, runs, () =>
    runs.length === 0
      ? `no ${what}: none has been started here, or all are past their retention`
      : textTable(
          runs.map((run) => {
            const [name, id] = names(run);
            return [name, id ?? '?', run.run, run.startedAt];
          }),
        ),
  );
}
