/**
 * A YAML document's content as plain values. Aliases share what they name; what a document would
 * hold with all of them written out is counted, and bounded: a few lines of aliases can stand for
 * more than any memory holds. (The package's own conversion looks each alias up by a walk over the
 * whole document: minutes, for a file of some ten thousand.)
 */
import { isAlias, isMap, isScalar, isSeq } from 'yaml';

/** Values and characters, with all aliases written out. A fleet of 10,000 members has 3 million. */
const maxExpanded = 16 * 1024 * 1024;

/** Deeper ones no schema of ours has; the walk and the schema recurse. */
const maxDepth = 100;

interface Content {
  readonly value: unknown;
  readonly size: number;
}

/** What is wrong, and at which offset of the text. */
export class ContentFault extends Error {
  readonly offset: number;

  constructor(message: string, offset: number) {
    super(message);
    this.offset = offset;
  }
}

/** @throws ContentFault */
export function contentOf(root: unknown): unknown {
  return new Conversion().of(root, 0).value;
}

class Conversion {
  /** Complete ones only: an alias of what holds it finds nothing. */
  readonly #anchors = new Map<string, Content>();

  of(node: unknown, depth: number): Content {
    if (depth > maxDepth) throw new ContentFault(`it is more than ${maxDepth} deep`, startOf(node));
    if (isAlias(node)) return this.#alias(node.source, startOf(node));
    const content = this.#plain(node, depth);
    if (content.size > maxExpanded) {
      throw new ContentFault('its aliases stand for too much: split the file', startOf(node));
    }
    if ((isMap(node) || isSeq(node) || isScalar(node)) && node.anchor !== undefined) {
      this.#anchors.set(node.anchor, content);
    }
    return content;
  }

  #plain(node: unknown, depth: number): Content {
    if (isScalar(node)) {
      const { value } = node;
      return { value, size: typeof value === 'string' ? value.length + 1 : 1 };
    }
    if (isSeq(node)) {
      const items = node.items.map((item) => this.of(item, depth + 1));
      return { value: items.map(({ value }) => value), size: sum(items) };
    }
    if (!isMap(node)) return { value: null, size: 1 };
    const pairs = node.items.map(({ key, value }) => {
      const name = isScalar(key) ? String(key.value) : String(key);
      return { name, content: this.of(value, depth + 1) };
    });
    const names = pairs.reduce((total, { name }) => total + name.length, 0);
    return {
      // Defines `__proto__` too, as a key like any other.
      value: Object.fromEntries(pairs.map(({ name, content }) => [name, content.value])),
      size: names + sum(pairs.map(({ content }) => content)),
    };
  }

  #alias(name: string, offset: number): Content {
    const content = this.#anchors.get(name);
    if (content !== undefined) return content;
    throw new ContentFault(`the alias "*${name}" names nothing that ends before it`, offset);
  }
}

function sum(contents: readonly Content[]): number {
  return contents.reduce((total, { size }) => total + size, 1);
}

/** Of a node of the document, where its text begins. */
export function startOf(node: unknown): number {
  if (typeof node !== 'object' || node === null || !('range' in node)) return 0;
  const { range } = node;
  return Array.isArray(range) && typeof range[0] === 'number' ? range[0] : 0;
}
