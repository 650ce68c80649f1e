/** `quorumshift schedule`: fleets that are rolled out by themselves. */
import { InvalidArgumentError, Option, type Command } from 'commander';

import type { ScheduleGiven, Schedules } from '../../client/control-plane.ts';
import type { ScheduleReport } from '../../client/schedule-client.ts';
import { fail } from '../../core/errors.ts';
import { fleetScheduleSchema, type FleetSchedule } from '../../schemas/fleet-schedule.ts';
import { addSelection, selectionOf, type SelectionOptions } from '../cluster-selection.ts';
import { addConnectionOptions, withControlPlane, type ConnectionOptions } from '../connection.ts';
import { addControlStoreOptions } from '../control-store-options.ts';
import { scheduleText, whenText } from '../fleet-text.ts';
import { outputOption, parseListLimit, print, toJson, type OutputFormat } from '../output.ts';
import { addRolloutInput, withRollouts, type RolloutInputOptions } from '../rollout-input.ts';

interface ScheduleOptions extends ConnectionOptions {
  readonly output: OutputFormat;
  readonly note: string;
}

interface CreateOptions extends ScheduleOptions, RolloutInputOptions, SelectionOptions {
  readonly fleet: string;
  readonly cron?: readonly string[];
  readonly every?: number;
  readonly at?: string;
  readonly timeZone: string;
  readonly overlap: 'skip' | 'buffer-one';
  readonly paused?: boolean;
}

export function addSchedule(program: Command): void {
  const schedule = program
    .command('schedule')
    .description('roll fleets out at set times, once or again and again');
  const command = (name: string, description: string, example = '') =>
    addConnectionOptions(schedule.command(name).description(description))
      .addOption(outputOption())
      .addHelpText('after', `\nExample:\n  quorumshift schedule ${`${name} ${example}`.trim()}`);
  const onSchedule = (name: string, description: string, rest = '') =>
    command(name, description, `weekly ${rest}`).argument('<schedule>', 'its name');
  const note = new Option('--note <text>', 'why; shown with the schedule').default('');

  const creation = onSchedule(
    'create',
    'schedule rollouts of what inventory and policy say now',
    '--fleet prod --cron "0 22 * * sat" --inventory inventory.yaml --policy policy.yaml',
  );
  addControlStoreOptions(addSelection(addRolloutInput(creation)))
    .requiredOption('--fleet <name>', 'the fleet that is rolled out')
    .addOption(
      new Option('--cron <expressions...>', 'such as "0 22 * * sat"').conflicts(['every', 'at']),
    )
    .addOption(
      new Option('--every <interval>', 'such as 12h, 7d').argParser(parseInterval).conflicts('at'),
    )
    .option('--at <time>', 'once, such as 2030-01-31T22:00:00Z')
    .option('--time-zone <name>', 'of cron expressions', 'UTC')
    .addOption(
      new Option('--overlap <policy>', 'when the fleet is still rolled out')
        .choices(['skip', 'buffer-one'])
        .default('skip'),
    )
    .option('--paused', 'begin paused')
    .addOption(note)
    .action(create);
  command('list', 'every schedule: next run, missed runs')
    .option('--limit <n>', 'at most so many', parseListLimit, 100)
    .action(list);
  onSchedule('show', 'one schedule: next and recent runs, missed ones').action(show);
  onSchedule('pause', 'no run begins; one that is under way goes on', '--note "freeze"')
    .addOption(note)
    .action(steer('paused', (client, name, options) => client.pause(name, options.note)));
  onSchedule('resume', 'runs begin again')
    .addOption(note)
    .action(steer('resumed', (client, name, options) => client.resume(name, options.note)));
  onSchedule('trigger', 'one run now').action(
    steer('triggered', (client, name) => client.trigger(name)),
  );
  onSchedule('delete', 'what it has started goes on').action(
    steer('deleted', (client, name) => client.delete(name)),
  );
}

/** Parses `90s`, `30m`, `12h`, `7d` to seconds. */
function parseInterval(text: string): number {
  const match = /^(\d{1,9})([smhd])$/.exec(text);
  if (match === null) throw new InvalidArgumentError('must be an interval such as 12h or 7d');
  const seconds = { s: 1, m: 60, h: 3600, d: 86_400 }[match[2] ?? 's'] ?? 1;
  return Number(match[1]) * seconds;
}

function withSchedules<T>(
  options: ConnectionOptions,
  work: (client: Schedules) => Promise<T>,
): Promise<T> {
  return withControlPlane(options, ({ schedules }) => work(schedules));
}

async function create(schedule: string, options: CreateOptions): Promise<void> {
  const given = scheduleOf(schedule, options);
  const report = await withRollouts(options, selectionOf(options), async (plane, rollouts) => {
    await plane.createSchedule(given, rollouts);
    return plane.schedules.describe(schedule);
  });
  print(options.output, { t: 'created', ...report }, () => scheduleText(report));
}

const givenSchema = fleetScheduleSchema.omit({ snapshot: true, policy: true, requestedBy: true });

/** @throws `usage.invalid` */
function scheduleOf(schedule: string, options: CreateOptions): ScheduleGiven {
  const { fleet, timeZone, overlap, note, paused = false } = options;
  const when = timesOf(options);
  const parsed = givenSchema.safeParse({ schedule, fleet, timeZone, overlap, note, paused, when });
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  const reason = `${issue?.path.join('.') ?? ''} ${issue?.message ?? 'is wrong'}`;
  throw fail('usage.invalid', { reason });
}

function timesOf({ cron, every, at }: CreateOptions): FleetSchedule['when'] {
  if (cron !== undefined) return { cron: [...cron] };
  if (every !== undefined) return { everySeconds: every, offsetSeconds: 0 };
  if (at !== undefined) return { at };
  throw fail('usage.invalid', { reason: 'say when: --cron, --every or --at' });
}

async function list(options: ScheduleOptions & { readonly limit: number }): Promise<void> {
  const found = await withSchedules(options, (client) => client.list({ limit: options.limit }));
  if (options.output === 'jsonl') {
    for (const one of found) process.stdout.write(`${toJson(one)}\n`);
    return;
  }
  print(options.output, found, () =>
    found.length === 0 ? 'no schedules' : found.map(lineOf).join('\n'),
  );
}

function lineOf({ schedule, fleet, when, timeZone, next, missed, paused }: ScheduleReport): string {
  const due = paused ? 'paused' : (next[0] ?? 'never again');
  const late = missed === 0 ? '' : `  missed ${missed}`;
  return `${schedule.padEnd(24)} ${fleet.padEnd(24)} ${due.padEnd(26)} ${whenText(when, timeZone)}${late}`;
}

async function show(schedule: string, options: ScheduleOptions): Promise<void> {
  const report = await withSchedules(options, (client) => client.describe(schedule));
  print(options.output, report, () => scheduleText(report));
}

function steer(
  done: string,
  call: (client: Schedules, schedule: string, options: ScheduleOptions) => Promise<void>,
) {
  return async (schedule: string, options: ScheduleOptions): Promise<void> => {
    await withSchedules(options, (client) => call(client, schedule, options));
    print(options.output, { t: done, schedule }, () => `${done} schedule ${schedule}`);
  };
}
