/** The first signal drains; a second one ends at once. */
export function onStop(stop: () => unknown): void {
  const handler = () => {
    process.once('SIGINT', () => process.exit(130));
    void stop();
  };
  process.once('SIGINT', handler);
  process.once('SIGTERM', handler);
}
