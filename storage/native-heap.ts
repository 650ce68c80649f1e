/**
 * Bounds what native code keeps for itself. glibc gives each thread a heap of its own, up to eight
 * for a processor; what a database's threads free there stays resident, unused by the others.
 */
import koffi from 'koffi';

/** <malloc.h> */
const M_ARENA_MAX = -8;
const maxArenas = 2;

let limited = false;

/** Lets threads that are started from now on share two heaps; of the whole process. */
export function shareNativeHeaps(): void {
  if (limited) return;
  limited = true;
  const mallopt = koffi.load('libc.so.6').func('int mallopt(int parameter, int value)');
  mallopt(M_ARENA_MAX, maxArenas);
}
