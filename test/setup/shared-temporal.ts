/** The run's one Temporal server, for test files that do not kill it. */
import { inject } from 'vitest';

export interface SharedTemporal {
  readonly address: string;
  readonly namespace: string;
}

/** Starts the server if no file has yet. Use task queues and workflow ids of your own. */
export async function sharedTemporal(): Promise<SharedTemporal> {
  const response = await fetch(inject('temporalStarter'));
  const body = await response.text();
  if (!response.ok) throw new Error(body);
  const shared: SharedTemporal = JSON.parse(body);
  return shared;
}
