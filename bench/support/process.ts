import { once } from 'node:events';
import type { ChildProcess } from 'node:child_process';
import { readFile } from 'node:fs/promises';

/** Longer than any regular end takes; then the process is killed. */
const END_WITHIN_MS = 30_000;

/** Ends a process and waits for it. A suspended process is resumed for that. */
export async function endProcess(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, 'exit');
  child.kill('SIGCONT');
  child.kill('SIGTERM');
  const deadline = setTimeout(() => child.kill('SIGKILL'), END_WITHIN_MS);
  await exited;
  clearTimeout(deadline);
}

/** The memory of a process by the kernel's count, bytes; null where there is no /proc. */
export async function residentBytes(pid: number): Promise<number | null> {
  const text = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => '');
  const kib = /^VmRSS:\s+(\d+) kB/m.exec(text)?.[1];
  return kib === undefined ? null : Number(kib) * 1_024;
}
