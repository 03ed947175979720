import { CHUNK, chunkOf } from '../index-columns.ts';
import type { RepairPlan } from '../stores/repair-plan.ts';

const NUMBER = /^\d{1,15}$/;

/** Members of one key: numbers as bits, which take little memory where they are dense, and other names. */
class Members {
  private readonly chunks = new Map<number, Uint8Array>();
  private readonly names = new Set<string>();
  /** The highest number; 0 for none. */
  highest = 0;

  add(name: string): void {
    if (!NUMBER.test(name)) return void this.names.add(name);
    const number = Number(name);
    this.highest = Math.max(this.highest, number);
    const places = this.chunks.get(chunkOf(number)) ?? new Uint8Array(CHUNK / 8);
    this.chunks.set(chunkOf(number), places);
    const byte = (number % CHUNK) >> 3;
    places[byte] = (places[byte] ?? 0) | (1 << (number & 7));
  }

  has(name: string): boolean {
    if (!NUMBER.test(name)) return this.names.has(name);
    const number = Number(name);
    const byte = this.chunks.get(chunkOf(number))?.[(number % CHUNK) >> 3] ?? 0;
    return (byte & (1 << (number & 7))) !== 0;
  }

  /** How many numbers are here, and in others as well. */
  countWith(others: Members | null): number {
    let count = 0;
    for (const [chunk, places] of this.chunks) {
      const also = others?.chunks.get(chunk);
      if (others !== null && also === undefined) continue;
      for (const [at, byte] of places.entries()) count += bitsOf(byte & (also?.[at] ?? 255));
    }
    return count;
  }
}

function bitsOf(byte: number): number {
  let bits = 0;
  for (let left = byte; left !== 0; left &= left - 1) bits += 1;
  return bits;
}

/** The entries that the records which were read have in logs, indexes and sorted sets. */
export class Held {
  private readonly keys = new Map<string, Members>();

  /** Takes in where a record belongs. */
  take({ logs, indexes, sorted }: RepairPlan): void {
    for (const { log, number } of logs) this.of(log).add(String(number));
    for (const { index, number } of indexes) this.of(index).add(String(number));
    for (const { key, member } of sorted) this.of(key).add(member);
  }

  has(key: string, name: string): boolean {
    return this.keys.get(key)?.has(name) === true;
  }

  /** How many numbers are in an index, and in another one where it is given. */
  count(index: string, other?: string): number {
    const members = this.keys.get(index);
    if (members === undefined) return 0;
    if (other === undefined) return members.countWith(null);
    const others = this.keys.get(other);
    return others === undefined ? 0 : members.countWith(others);
  }

  /** The highest number in a log; 0 for none. */
  highest(log: string): number {
    return this.keys.get(log)?.highest ?? 0;
  }

  private of(key: string): Members {
    const members = this.keys.get(key) ?? new Members();
    this.keys.set(key, members);
    return members;
  }
}

/** Whether a record belongs in an entry. */
export function isInPlan(
  { logs, indexes, sorted }: RepairPlan,
  key: string,
  name: string,
): boolean {
  return (
    indexes.some(({ index, number }) => index === key && String(number) === name) ||
    logs.some(({ log, number }) => log === key && String(number) === name) ||
    sorted.some((one) => one.key === key && one.member === name)
  );
}
