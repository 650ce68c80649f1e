/**
 * The names of an in-memory file system seen twice: as running programs see them, and as the disk
 * surely holds them. Between the two lies a log of unsynced changes of names.
 */
import { CrashContent } from './crash-content.ts';
import type { SeededRandom } from './seeded-random.ts';

export interface FileNode {
  readonly kind: 'file';
  readonly inode: bigint;
  readonly content: CrashContent;
}

export interface DirectoryNode {
  readonly kind: 'directory';
  readonly inode: bigint;
  readonly seen: Map<string, Node>;
  readonly durable: Map<string, Node>;
}

export type Node = FileNode | DirectoryNode;

/** One name's new meaning; null when the name goes. */
export interface NameEffect {
  readonly directory: DirectoryNode;
  readonly name: string;
  readonly node: Node | null;
}

/** Effects that are durable together or not at all; surely so once every directory was synced. */
interface NameChange {
  readonly effects: readonly NameEffect[];
  readonly unsynced: Set<DirectoryNode>;
}

export class CrashTree {
  readonly root: DirectoryNode;
  #lastInode = 1n;
  #log: NameChange[] = [];

  constructor() {
    this.root = this.directory();
  }

  file(content = new CrashContent()): FileNode {
    return { kind: 'file', inode: ++this.#lastInode, content };
  }

  directory(): DirectoryNode {
    const inode = ++this.#lastInode;
    return { kind: 'directory', inode, seen: new Map(), durable: new Map() };
  }

  change(effects: readonly NameEffect[]): void {
    for (const effect of effects) setName(effect.directory.seen, effect);
    this.#log.push({ effects, unsynced: new Set(effects.map((effect) => effect.directory)) });
  }

  sync(directory: DirectoryNode): void {
    for (const change of this.#log) change.unsynced.delete(directory);
    while (this.#log[0]?.unsynced.size === 0) applyDurably(this.#log.shift()?.effects ?? []);
  }

  /** A fresh tree of what a crash leaves; everything in it is durable. */
  survivor(random: SeededRandom): CrashTree {
    const overlay = new Map<DirectoryNode, Map<string, Node>>();
    const names = (directory: DirectoryNode) => {
      const found = overlay.get(directory) ?? new Map(directory.durable);
      overlay.set(directory, found);
      return found;
    };
    for (const change of this.#survivingChanges(random)) {
      for (const effect of change.effects) setName(names(effect.directory), effect);
    }
    const tree = new CrashTree();
    const copy = (from: DirectoryNode, to: DirectoryNode) => {
      for (const [name, node] of names(from)) {
        const child = node.kind === 'directory' ? tree.directory() : copyFile(tree, node, random);
        to.seen.set(name, child);
        to.durable.set(name, child);
        if (node.kind === 'directory' && child.kind === 'directory') copy(node, child);
      }
    };
    copy(this.root, tree.root);
    return tree;
  }

  /**
   * Of each directory a prefix of its unsynced changes; a change of two directories only when it is
   * within both prefixes, or when a later surviving change builds on one of its names.
   */
  #survivingChanges(random: SeededRandom): NameChange[] {
    const cuts = prefixLengths(this.#log, random);
    const kept = this.#log.map((change) => {
      if (change.unsynced.size === 0) return true;
      const directories = change.effects.map((effect) => effect.directory);
      const survives = directories.every((directory) => (cuts.get(directory) ?? 0) > 0);
      for (const directory of new Set(directories)) {
        cuts.set(directory, survives ? (cuts.get(directory) ?? 0) - 1 : 0);
      }
      return survives;
    });
    const needed = new Map<DirectoryNode, Set<string>>();
    return this.#log
      .toReversed()
      .filter((change, fromEnd) => {
        const builtOn = change.effects.some((it) => needed.get(it.directory)?.has(it.name));
        if (!kept[kept.length - 1 - fromEnd] && !builtOn) return false;
        for (const { directory, name } of change.effects) {
          needed.set(directory, (needed.get(directory) ?? new Set()).add(name));
        }
        return true;
      })
      .toReversed();
  }
}

function prefixLengths(
  log: readonly NameChange[],
  random: SeededRandom,
): Map<DirectoryNode, number> {
  const counts = new Map<DirectoryNode, number>();
  for (const change of log) {
    if (change.unsynced.size === 0) continue;
    for (const directory of new Set(change.effects.map((effect) => effect.directory))) {
      counts.set(directory, (counts.get(directory) ?? 0) + 1);
    }
  }
  for (const [directory, count] of counts) counts.set(directory, random.below(count + 1));
  return counts;
}

function copyFile(tree: CrashTree, node: FileNode, random: SeededRandom): FileNode {
  return tree.file(CrashContent.durable(node.content.survivor(random)));
}

function applyDurably(effects: readonly NameEffect[]): void {
  for (const effect of effects) setName(effect.directory.durable, effect);
}

function setName(names: Map<string, Node>, { name, node }: NameEffect): void {
  if (node === null) names.delete(name);
  else names.set(name, node);
}
