/** Errors of the registry (error-registry.ts): made, recognised, and told apart from bugs. */
import { errorRegistry, type ErrorDefinition } from './error-registry.ts';

export type ErrorCode = keyof typeof errorRegistry;

type Placeholders<Text extends string> = Text extends `${string}{${infer Name}}${infer Rest}`
  ? Name | Placeholders<Rest>
  : never;

/** The values that the template of `Code` asks for. */
export type ErrorDetails<Code extends ErrorCode> = Readonly<
  Record<Placeholders<(typeof errorRegistry)[Code]['message']>, string | number | bigint>
>;

/** An error of the registry. `message` is filled in; `details` are JSON-safe strings. */
export class QuorumshiftError extends Error {
  override readonly name = 'QuorumshiftError';
  readonly code: ErrorCode;
  readonly details: Readonly<Record<string, string>>;

  constructor(code: ErrorCode, details: Readonly<Record<string, string>>, options?: ErrorOptions) {
    super(fill(errorRegistry[code].message, details), options);
    this.code = code;
    this.details = details;
  }

  get definition(): ErrorDefinition {
    return errorRegistry[this.code];
  }
}

/** Makes (does not throw) the error `code` with its details. */
export function fail<Code extends ErrorCode>(
  code: Code,
  details: ErrorDetails<Code>,
  options?: ErrorOptions,
): QuorumshiftError {
  const texts = Object.fromEntries(Object.entries(details).map(([k, v]) => [k, String(v)]));
  return new QuorumshiftError(code, texts, options);
}

/** Whether `error` is one of ours with this code. */
export function hasCode(error: unknown, code: ErrorCode): error is QuorumshiftError {
  return error instanceof QuorumshiftError && error.code === code;
}

function fill(template: string, details: Readonly<Record<string, string>>): string {
  return template.replace(/\{([a-zA-Z]+)\}/g, (whole, name: string) => details[name] ?? whole);
}

/** What was thrown, in words, whatever it is. */
export function messageOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}

/** A broken invariant: a bug, never a condition of the outside world. */
export class InvariantError extends Error {
  override readonly name = 'InvariantError';
}

/** Throws {@link InvariantError} unless `condition` holds. */
export function assert(condition: unknown, invariant: string): asserts condition {
  if (!condition) throw new InvariantError(`invariant broken: ${invariant}`);
}
