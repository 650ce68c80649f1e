/** `quorumshift token create|list|revoke`: who may use the API, and as what. */
import { randomUUID } from 'node:crypto';

import { InvalidArgumentError, Option, type Command } from 'commander';
import pc from 'picocolors';

import type { ControlStore } from '../../control/control-store.ts';
import { roles, type Role, type TokenInfo } from '../../control/token-table.ts';
import { fail, QuorumshiftError } from '../../core/errors.ts';
import { isName } from '../../core/ids.ts';
import {
  addControlStoreOptions,
  withControlStore,
  type ControlStoreOptions,
} from '../control-store-options.ts';
import { identity } from '../identity.ts';
import { outputOption, print, type OutputFormat } from '../output.ts';
import { textTable } from '../text-table.ts';

interface TokenOptions extends ControlStoreOptions {
  readonly output: OutputFormat;
}

interface CreateOptions extends TokenOptions {
  readonly role: Role;
  /** In milliseconds; Infinity: never. */
  readonly expires: number;
  readonly reason?: string;
}

export function addTokens(program: Command): void {
  const token = program
    .command('token')
    .description('tokens of the HTTP API')
    .addHelpText('after', '\nExample:\n  quorumshift token create ci --role operate --expires 30d');
  const stored = (command: Command) => addControlStoreOptions(command).addOption(outputOption());
  stored(token.command('create'))
    .description('make a token; its secret is shown once')
    .argument('<name>', 'whose it is, such as ci')
    .addOption(
      new Option('--role <role>', 'what it may do; each role includes those before it')
        .choices(roles)
        .makeOptionMandatory(),
    )
    .addOption(
      new Option('--expires <time>', 'such as 12h or 90d, or never')
        .argParser(parseLifetime)
        .default(lifetimeOf(90, 'd'), '90d'),
    )
    .option('--reason <text>', 'goes into the audit trail')
    .addHelpText('after', '\nExample:\n  quorumshift token create ci --role operate --expires 30d')
    .action(create);
  stored(token.command('list'))
    .description('all tokens, without their secrets')
    .addHelpText('after', '\nExample:\n  quorumshift token list')
    .action(list);
  stored(token.command('revoke'))
    .description('take a token back, at once')
    .argument('<name-or-id>')
    .option('--reason <text>', 'goes into the audit trail')
    .addHelpText('after', '\nExample:\n  quorumshift token revoke ci --reason "it leaked"')
    .action(revoke);
}

async function create(name: string, options: CreateOptions): Promise<void> {
  if (!isName(name)) {
    const reason = `"${name}" is no name of a token: it must be of letters, digits, ".", "_", "-"`;
    throw fail('usage.invalid', { reason });
  }
  const { role, expires, reason = '' } = options;
  const expiresAt = expires === Infinity ? null : Date.now() + expires;
  const change = { action: 'token.create', name, reason: `as ${role}. ${reason}`.trim() };
  const made = await withControlStore(options, { create: true }, (store) =>
    audited(store, change, () =>
      store.tokens.create({ name, role, createdBy: identity(), expiresAt }),
    ),
  );
  const { token, secret } = made;
  print(options.output, { t: 'token', ...shown(token), secret }, () => {
    const until = expiresAt === null ? 'never expires' : `expires ${timeText(expiresAt)}`;
    return [
      `token ${name} (${role}), ${until}; it is shown this once:`,
      '',
      secret,
      '',
      'use it: curl -H "Authorization: Bearer <token>" …',
    ].join('\n');
  });
}

async function list(options: TokenOptions): Promise<void> {
  const tokens = await withControlStore(options, { create: false }, (store) => store.tokens.list());
  print(options.output, { t: 'tokens', tokens: tokens.map(shown) }, () =>
    textTable([
      ['name', 'role', 'state', 'created', 'expires', 'last used', 'by', 'id'],
      ...tokens.map((token) => [
        token.name,
        token.role,
        stateOf(token),
        timeText(token.createdAt),
        token.expiresAt === null ? 'never' : timeText(token.expiresAt),
        token.lastUsedAt === null ? 'never' : timeText(token.lastUsedAt),
        token.createdBy,
        token.id,
      ]),
    ]),
  );
}

async function revoke(
  nameOrId: string,
  options: TokenOptions & { readonly reason?: string },
): Promise<void> {
  const { reason = '' } = options;
  const change = { action: 'token.revoke', name: nameOrId, reason };
  const token = await withControlStore(options, { create: false }, (store) =>
    audited(store, change, () => store.tokens.revoke(nameOrId)),
  );
  print(
    options.output,
    { t: 'token', ...shown(token) },
    () =>
      `${pc.green('revoked')} token ${token.name} (${token.role}): no request takes it any more`,
  );
}

/** Makes the change once its audit line is durable; a line of its own says how it ended. */
async function audited<T>(
  store: ControlStore,
  change: { readonly action: string; readonly name: string; readonly reason: string },
  work: () => Promise<T>,
): Promise<T> {
  const { action, name, reason } = change;
  const id = `token/${randomUUID()}`;
  const fact = { by: identity(), action, subject: `token/${name}`, reason, digests: [] };
  await store.audit.append({ id, ...fact });
  const ended = (outcome: string) => store.audit.append({ id: `${id}/outcome`, ...fact, outcome });
  try {
    const result = await work();
    await ended('done');
    return result;
  } catch (error) {
    if (error instanceof QuorumshiftError) await ended(`failed: ${error.code}`);
    throw error;
  }
}

function stateOf({ revokedAt, expiresAt }: TokenInfo): string {
  if (revokedAt !== null) return 'revoked';
  return expiresAt !== null && expiresAt <= Date.now() ? 'expired' : 'valid';
}

function shown(token: TokenInfo) {
  const { createdAt, expiresAt, lastUsedAt, revokedAt, ...rest } = token;
  const time = (ms: number | null) => (ms === null ? null : new Date(ms).toISOString());
  return {
    ...rest,
    state: stateOf(token),
    createdAt: time(createdAt),
    expiresAt: time(expiresAt),
    lastUsedAt: time(lastUsedAt),
    revokedAt: time(revokedAt),
  };
}

function timeText(ms: number): string {
  return new Date(ms).toISOString().slice(0, 16).replace('T', ' ');
}

const unitsMs = { m: 60_000, h: 3_600_000, d: 86_400_000 } as const;

function lifetimeOf(amount: number, unit: keyof typeof unitsMs): number {
  return amount * unitsMs[unit];
}

function parseLifetime(text: string): number {
  if (text === 'never') return Infinity;
  const [, amount, unit] = /^([1-9]\d{0,5})([mhd])$/.exec(text) ?? [];
  if (unit === 'm' || unit === 'h' || unit === 'd') return lifetimeOf(Number(amount), unit);
  throw new InvalidArgumentError('must be a time such as 12h or 90d, or never');
}
