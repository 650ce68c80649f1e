/** The log of a long-running process, on stderr: sentences for people, or a line of JSON each. */
import { pino } from 'pino';

import type { Log } from '../core/log.ts';

export type LogFormat = 'text' | 'json';

/**
 * @param name of the process, in each line of JSON. A line is written when its call returns: a
 *   process that is killed has said what it did. Where nobody reads it any more it is lost.
 */
export function processLog(name: string, format: LogFormat): Log {
  const { stderr } = process;
  if (stderr.listenerCount('error', ignore) === 0) stderr.on('error', ignore);
  if (format === 'text') return (line) => void stderr.write(`${oneLine(line)}\n`);
  const logger = pino(
    {
      base: { process: name },
      messageKey: 'message',
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (level) => ({ level }) },
    },
    { write: (line) => void stderr.write(line) },
  );
  return (line, parts = {}, level = 'info') => logger[level](parts, line);
}

/** What people gave as a reason must not look like another line. */
function oneLine(line: string): string {
  return line.replaceAll(
    /\p{Cc}/gu,
    (letter) => `\\u${letter.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

function ignore(): void {}
