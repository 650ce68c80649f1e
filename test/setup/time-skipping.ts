/**
 * Temporal's test server, which skips the time that workflows wait: a Java program, its jars pinned
 * by checksum, in the product's cache. `npm test` installs it by Maven; plain vitest uses what is
 * there.
 */
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { promisify } from 'node:util';

import { productCache } from '../../worker/product-cache.ts';

const pom = resolve('test/setup/time-skipping/pom.xml');
/** `<SHA-256>  <file name>`, a line for each jar. */
const checksums = resolve('test/setup/time-skipping/jars.sha256');

const copyDependencies = 'org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies';

/** A repository that has not sent it all by then is passed over. */
const installMs = 240_000;

/** The program, or null where it is not installed or cannot run. */
export function findTimeSkipping(env: NodeJS.ProcessEnv): string | null {
  const { program } = placeOf(env);
  const hasJava = (env['PATH'] ?? '').split(':').some((path) => existsSync(join(path, 'java')));
  return hasJava && existsSync(program) ? program : null;
}

/** @throws Error saying what is missing, or which jar is not the pinned one */
export async function installTimeSkipping(env: NodeJS.ProcessEnv): Promise<void> {
  const { directory, program } = placeOf(env);
  const run = promisify(execFile);
  await run('java', ['-version']);
  if (existsSync(program)) return;
  await mkdir(dirname(directory), { recursive: true });
  const incoming = await mkdtemp(`${directory}-`);
  try {
    const jars = join(incoming, 'jars');
    const options = ['--batch-mode', '--quiet', '--file', pom, `-DoutputDirectory=${jars}`];
    await run('mvn', [...options, '-DincludeScope=runtime', copyDependencies], {
      timeout: installMs,
      env,
    });
    await check(jars);
    await writeFile(join(incoming, 'server'), script(join(directory, 'jars')), { mode: 0o755 });
    await rm(directory, { recursive: true, force: true });
    await rename(incoming, directory);
  } finally {
    await rm(incoming, { recursive: true, force: true });
  }
}

/** Started as the SDK starts the program: with a port, and how to treat the time. */
function script(jars: string): string {
  const options = '-XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Xmx512m';
  const main = 'io.temporal.testserver.TestServer';
  return `#!/bin/sh\nexec java ${options} -cp '${jars}/*' ${main} "$@"\n`;
}

async function check(jars: string): Promise<void> {
  const wanted = readFileSync(checksums, 'utf8').trimEnd().split('\n').toSorted();
  const names = await readdir(jars);
  const there = names.map(async (name) => {
    const digest = createHash('sha256').update(await readFile(join(jars, name)));
    return `${digest.digest('hex')}  ${name}`;
  });
  const found = (await Promise.all(there)).toSorted();
  const odd = [
    ...found.filter((line) => !wanted.includes(line)).map((line) => `not pinned: ${line}`),
    ...wanted.filter((line) => !found.includes(line)).map((line) => `missing: ${line}`),
  ];
  if (odd.length > 0) throw new Error(`the jars are not those of ${checksums}: ${odd.join('; ')}`);
}

/** One directory for each set of versions. */
function placeOf(env: NodeJS.ProcessEnv) {
  const digest = createHash('sha256').update(readFileSync(checksums)).digest('hex');
  const directory = join(productCache(env), `time-skipping-${digest.slice(0, 8)}`);
  return { directory, program: join(directory, 'server') };
}
