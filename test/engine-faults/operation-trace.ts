/** What engine-fault-shim.c writes down, read back. */

/** One call that changed what a later process may find, or (`told`) a text written to stdout. */
export type TraceRecord =
  | { readonly kind: 'begin'; readonly inode: string }
  | { readonly kind: 'create' | 'mkdir'; readonly inode: string; readonly path: string }
  | {
      readonly kind: 'write';
      readonly inode: string;
      readonly position: number;
      readonly bytes: Buffer;
    }
  | { readonly kind: 'truncate'; readonly inode: string; readonly size: number }
  | { readonly kind: 'sync' | 'failed-sync'; readonly inode: string }
  | { readonly kind: 'rename' | 'link'; readonly from: string; readonly to: string }
  | { readonly kind: 'remove'; readonly path: string }
  | { readonly kind: 'told'; readonly text: string };

const newline = 0x0a;

export function parseTrace(trace: Buffer): TraceRecord[] {
  const records: TraceRecord[] = [];
  for (let at = 0; at < trace.length;) {
    const end = trace.indexOf(newline, at);
    if (end < 0) throw new Error(`the trace is torn at byte ${at} of ${trace.length}`);
    const [letter = '', ...fields] = trace.toString('latin1', at, end).split(' ');
    const size = Number(fields.pop());
    at = end + 1 + size;
    records.push(recordOf(letter, fields, trace.subarray(end + 1, at)));
  }
  return records;
}

function recordOf(letter: string, fields: readonly string[], bytes: Buffer): TraceRecord {
  const [inode = '', number] = fields;
  const [path = '', to = ''] = bytes.toString('utf8').split('\0');
  switch (letter) {
    case 'B':
      return { kind: 'begin', inode };
    case 'C':
      return { kind: 'create', inode, path };
    case 'M':
      return { kind: 'mkdir', inode, path };
    case 'W':
      return { kind: 'write', inode, position: Number(number), bytes };
    case 'T':
      return { kind: 'truncate', inode, size: Number(number) };
    case 'S':
      return { kind: 'sync', inode };
    case 'F':
      return { kind: 'failed-sync', inode };
    case 'N':
      return { kind: 'rename', from: path, to };
    case 'L':
      return { kind: 'link', from: path, to };
    case 'U':
      return { kind: 'remove', path };
    case 'A':
      return { kind: 'told', text: path.trimEnd() };
    default:
      throw new Error(`a trace has no record "${letter}"`);
  }
}

/** All that was told, in order. */
export function toldIn(records: readonly TraceRecord[]): string[] {
  return records.flatMap((record) => (record.kind === 'told' ? [record.text] : []));
}
