import { crc32c } from '@node-rs/crc32';
import { assert as assertProperty, property, tuple, uint8Array } from 'fast-check';
import { describe, expect, test } from 'vitest';

import { batchOf } from '../../storage/entry-batch.ts';
import { combineCrc32c, shortCrc32c } from '../../storage/crc32c.ts';
import { murmur3 } from '../../storage/families/local/checksum.ts';
import { configurationPeers, decodeFileMeta } from '../../storage/braft-payloads/configuration.ts';
import {
  decodeSnapshotTable,
  encodeLogMeta,
  encodeSnapshotTable,
  encodeStableMeta,
} from '../../storage/families/local/messages.ts';
import {
  normalisePeerText,
  parsePeerId,
  votedForProblem,
} from '../../storage/braft-payloads/peer-id.ts';
import { frameMessage } from '../../storage/families/local/protobuf-file.ts';
import { SegmentRun } from '../../storage/families/local/segment-run.ts';
import { record } from './braft-files.ts';

const hexOf = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');
const fromHex = (hex: string) => Buffer.from(hex.replaceAll(' ', ''), 'hex');

const configurationA = fromHex(
  '0a12 3132372e302e302e313a383030313a303a30 0a12 3132372e302e302e313a383030323a303a30 0a12 3132372e302e302e313a383030333a303a31',
);
const configurationB = fromHex(
  '0a12 3132372e302e302e313a383030313a303a30 1212 3132372e302e302e313a383030323a303a30',
);

describe('records, as real braft loaded them [FAM-9]', () => {
  const examples = [
    { term: 1, type: 1, payload: '', crc: '00000000 2a174daa', murmur: '00000000 cebaeca5' },
    { term: 2, type: 2, payload: 'hello', crc: '9a71bb4c efc45522', murmur: '248bfa47 f33b0389' },
    { term: 2, type: 2, payload: '', crc: '00000000 28f37955', murmur: '00000000 a6d9b442' },
    {
      term: 3,
      type: 3,
      payload: configurationA,
      crc: '429f3359 662363a3',
      murmur: '17153df2 74205420',
    },
    {
      term: 4,
      type: 3,
      payload: configurationB,
      crc: '5f350b0e 67d5d3f7',
      murmur: '7716c03c 1dcd815f',
    },
  ];

  test.each(examples)('type $type of term $term', ({ term, type, payload, crc, murmur }) => {
    const bytes = Buffer.from(payload);
    const run = new SegmentRun();
    const batch = batchOf([{ index: 9n, term: BigInt(term), type, payload: bytes }]);
    run.take(batch, 0, { room: 0 });
    const written = Buffer.from(run.drain().bytes);
    expect(hexOf(written.subarray(16, 24))).toBe(crc.replace(' ', ''));
    expect(written).toEqual(record({ term, type, payload: bytes }));
    const other = record({ term, type, payload: bytes, kind: 0 });
    expect(hexOf(other.subarray(16, 24))).toBe(murmur.replace(' ', ''));
  });

  test.each([
    ['', '00000000', '00000000'],
    ['61', '3c2569b2', 'c1d04330'],
    ['68656c6c6f', '248bfa47', '9a71bb4c'],
    ['313233343536373839', 'b4fef382', 'e3069283'],
    ['00'.repeat(20), 'ee9d294a', 'bcc5563e'],
    ['ff'.repeat(7), '011d1da7', '6064a385'],
  ])('checksums of %s', (hex, murmur, crc) => {
    const bytes = fromHex(hex);
    const padded = (value: number) => value.toString(16).padStart(8, '0');
    expect([padded(murmur3(bytes)), padded(crc32c(bytes))]).toEqual([murmur, crc]);
  });
});

describe('CRC-32C in pieces', () => {
  test('short spans and combined ones equal the checksum of the whole', () => {
    const spans = tuple(uint8Array({ maxLength: 3000 }), uint8Array({ maxLength: 70_000 }));
    assertProperty(
      property(spans, ([a, b]) => {
        const whole = crc32c(Buffer.concat([a, b]));
        expect(combineCrc32c(crc32c(a), crc32c(b), b.length)).toBe(whole);
        const words = b.length - (b.length % 4);
        const expected = crc32c(Buffer.concat([a, b.subarray(0, words)]));
        expect(shortCrc32c(b, 0, words, crc32c(a))).toBe(expected);
      }),
      { numRuns: 200, verbose: true },
    );
  });
});

describe('messages in their files, as real braft wrote them [FAM-9]', () => {
  test('log_meta', () => {
    expect(hexOf(frameMessage(encodeLogMeta(1n)))).toBe('000000020801');
    expect(hexOf(frameMessage(encodeLogMeta(300n)))).toBe('0000000308ac02');
  });

  test('raft_meta', () => {
    const voted = { term: 7n, votedFor: Buffer.from('127.0.0.1:8000:0:0') };
    expect(hexOf(frameMessage(encodeStableMeta(voted)))).toBe(
      '00000016080712123132372e302e302e313a383030303a303a30',
    );
    const nobody = { term: 1n, votedFor: Buffer.from('0.0.0.0:0:0:0') };
    expect(hexOf(frameMessage(encodeStableMeta(nobody)))).toBe(
      '000000110801120d302e302e302e303a303a303a30',
    );
  });

  test('__raft_snapshot_meta, read and written again: the same bytes, with what was present', () => {
    const hex =
      '0a18 080a 1003 1a12 3132372e302e302e313a383030313a303a30  1213 0a03612f62 120c 0a020102 1000 1a0461623132  1208 0a0464617461 1200';
    const table = decodeSnapshotTable(fromHex(hex));
    expect(table?.meta.lastIncludedIndex).toBe(10n);
    expect(table?.files.map((file) => String(file.name))).toEqual(['a/b', 'data']);
    expect(table && hexOf(encodeSnapshotTable(table))).toBe(hexOf(fromHex(hex)));
  });

  test('unknown fields and groups are skipped, a negative int64 has ten bytes', () => {
    expect(hexOf(encodeLogMeta(-1n))).toBe('08ffffffffffffffffff01');
    const unknown = fromHex('0b 2801 0c 7d00000000 790000000000000000');
    const peers = configurationPeers(Buffer.concat([unknown, configurationB]));
    expect(peers).toEqual({ peers: ['127.0.0.1:8001:0:0'], oldPeers: ['127.0.0.1:8002:0:0'] });
    for (const hex of ['0a', '0a05aa', '00', '0b', '0f', '08ffffffffffffffffffff01']) {
      expect(configurationPeers(fromHex(hex))).toBeNull();
    }
  });

  test('numbers with superfluous bytes: read and refused as the C++ parser does', () => {
    const peer = Buffer.from('1.2.3.4:5:0:0').toString('hex');
    const read = [`8a0004${peer.slice(0, 8)}`, `8a808080100d${peer}`, `0a8d00${peer}`];
    for (const hex of read) expect(configurationPeers(fromHex(hex))?.peers).toHaveLength(1);
    // A tag in 6 bytes; a length in 6, one of 2 GiB; the same in a field that is not known.
    for (const hex of [`8a808080800000`, '0a808080808000', '0a8080808008', '2a808080808000']) {
      expect(configurationPeers(fromHex(hex))).toBeNull();
    }
  });

  test('a file source that is not known counts as absent, a value of 64 bits by its lower 32', () => {
    expect(decodeFileMeta(fromHex('1001'))).toEqual({ source: 1 });
    expect(decodeFileMeta(fromHex('1002'))).toEqual({});
    expect(decodeFileMeta(fromHex('1001 1007'))).toEqual({ source: 1 });
    expect(decodeFileMeta(fromHex('108180808010'))).toEqual({ source: 1 });
  });
});

describe('peers as text [FAM-9]', () => {
  test.each([
    ['127.0.0.1:80', '127.0.0.1:80:0:0'],
    ['127.0.0.1:80:3', '127.0.0.1:80:3:0'],
    ['127.0.0.1:80:3:1', '127.0.0.1:80:3:1'],
    ['  10.0.0.1::: 80:: 2', '10.0.0.1:80:2:0'],
    ['10.0.0.1:80:2 and more', '10.0.0.1:80:2:0'],
    ['10.0.0.1:99999', '10.0.0.1:99999:0:0'],
    ['10.0.0.1:-1', '10.0.0.1:-1:0:0'],
    ['10.0.0.1:4294967297', '10.0.0.1:1:0:0'],
    ['10.0.0.1:99999999999999999999', '10.0.0.1:-1:0:0'],
    ['10.0.0.1:80:0:4294967296', '10.0.0.1:80:0:0'],
    ['\t10.0.0.1:\v80:+5', '10.0.0.1:80:5:0'],
    ['10.0.0.1:80\0:5', '10.0.0.1:80:0:0'],
  ])('%s is read as %s', (text, normal) => {
    expect(normalisePeerText(text)).toBe(normal);
  });

  test.each([
    '',
    '127.0.0.1',
    'host:80',
    '[::1]:80',
    'unix:/x',
    '127.0.0.01:80',
    '1.2.3.4:5:0:2',
    '1.2.3.4:\u00a080',
    '\u00a01.2.3.4:80',
  ])('"%s" is refused', (text) => {
    expect(parsePeerId(text)).toBeNull();
  });

  test('a vote must be a peer, wholly [FAM-10]', () => {
    expect(votedForProblem(Buffer.from('127.0.0.1:80:0'))).toBeNull();
    for (const text of ['server-1', '127.0.0.1', '127.0.0.1:80 x', '127.0.0.1:80:0:7']) {
      expect(votedForProblem(Buffer.from(text))).toContain(text);
    }
  });
});
