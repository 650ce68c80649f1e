/** What a long-running process tells whoever keeps its log: a sentence, and its parts. */
export type LogLevel = 'info' | 'warn' | 'error';

export type Log = (
  line: string,
  /** For machines; the sentence says all that matters of it. */
  parts?: Readonly<Record<string, string | number | null>>,
  level?: LogLevel,
) => void;

export const quiet: Log = () => {};
