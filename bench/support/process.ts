import { once } from 'node:events';
import type { ChildProcess } from 'node:child_process';

/** Longer than anything that is told to end needs; then it is killed. */
const END_WITHIN_MS = 30_000;

/** Tells a process to end and waits until it has. A process that was stopped is woken for that. */
export async function endProcess(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, 'exit');
  child.kill('SIGCONT');
  child.kill('SIGTERM');
  const deadline = setTimeout(() => child.kill('SIGKILL'), END_WITHIN_MS);
  await exited;
  clearTimeout(deadline);
}
