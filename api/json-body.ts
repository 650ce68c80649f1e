/** Bodies are JSON alone, no deeper than any of ours, and without `__proto__`. */
import type { FastifyInstance } from 'fastify';

import { fail } from '../core/errors.ts';
import { limits } from './limits.ts';

export function takeJsonAlone(app: FastifyInstance): void {
  const parse = app.getDefaultJsonParser('error', 'error');
  app.removeAllContentTypeParsers();
  app.addContentTypeParser<string>(
    'application/json',
    { parseAs: 'string' },
    (request, body, done) => {
      if (!isDeeper(body, limits.jsonDepth)) {
        void parse(request, body, done);
        return;
      }
      const reason = `its body must not be deeper than ${limits.jsonDepth} objects and arrays`;
      done(fail('request.invalid', { reason }));
    },
  );
}

/** Before parsing, which takes its stack from the process. */
function isDeeper(json: string, most: number): boolean {
  let depth = 0;
  let inText = false;
  for (let i = 0; i < json.length; i += 1) {
    const letter = json[i];
    if (inText) {
      if (letter === '\\') i += 1;
      else if (letter === '"') inText = false;
    } else if (letter === '"') {
      inText = true;
    } else if (letter === '{' || letter === '[') {
      depth += 1;
      if (depth > most) return true;
    } else if (letter === '}' || letter === ']') {
      depth -= 1;
    }
  }
  return false;
}
