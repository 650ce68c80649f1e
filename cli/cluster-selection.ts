/** Which clusters of an inventory a command is about. */
import type { Command } from 'commander';

import { parseLabels, type Selection } from '../control/rollout-input.ts';

export interface SelectionOptions {
  readonly clusters?: readonly string[];
  readonly label?: readonly string[];
}

export function addSelection(command: Command): Command {
  return command
    .option('--clusters <names...>', 'these alone, in this order; else in that of the inventory')
    .option('--label <name=value...>', 'those alone that have all of these labels');
}

/** Both options take several values, or one with commas. @throws `usage.invalid` */
export function selectionOf({ clusters, label }: SelectionOptions): Selection {
  return {
    ...(clusters !== undefined && { clusters: clusters.flatMap((names) => names.split(',')) }),
    ...(label !== undefined && { labels: parseLabels(label) }),
  };
}
