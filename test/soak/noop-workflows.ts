/** What a fleet is held against: children in the same window that run no-op activities alone. */
import { condition, proxyActivities, startChild, workflowInfo } from '@temporalio/workflow';

interface NoopActivities {
  noop(): Promise<void>;
}

const { noop } = proxyActivities<NoopActivities>({ startToCloseTimeout: '1 minute' });

export async function noopChild({ activities }: { readonly activities: number }): Promise<void> {
  for (let i = 0; i < activities; i += 1) await noop();
}

export async function noopFleet(given: {
  readonly children: number;
  readonly window: number;
  readonly activities: number;
}): Promise<void> {
  const { children, window, activities } = given;
  let open = 0;
  for (let i = 0; i < children; i += 1) {
    await condition(() => open < window);
    open += 1;
    const child = await startChild<typeof noopChild>('noopChild', {
      workflowId: `${workflowInfo().workflowId}/${i}`,
      args: [{ activities }],
      parentClosePolicy: 'ABANDON',
    });
    void child.result().then(() => {
      open -= 1;
    });
  }
  await condition(() => open === 0);
}
