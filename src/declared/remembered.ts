import { sum } from '../core/arrays.ts';
import type { Document } from './answer.ts';
import type { Values } from './mapping.ts';

/** What was read last by one request, as far as it is kept, and the tag by which the source knows it. */
export interface RememberedDocument extends Document {
  tag: string;
}

/** The most that is kept of all documents of a source, characters: some 20,000 runs. */
const MAX_LENGTH = 8_388_608;

/** What an entry takes beside its texts, and an item of a list, characters. */
const ENTRY_LENGTH = 160;
const ITEM_LENGTH = 32;

/**
 * The documents that were read last, by their requests. Those that were not asked for longest make room. What is
 * forgotten is read anew.
 */
export class RememberedDocuments {
  private readonly documents = new Map<string, RememberedDocument>();
  private length = 0;

  get(path: string): RememberedDocument | null {
    return this.documents.get(path) ?? null;
  }

  put(path: string, document: RememberedDocument): void {
    this.delete(path);
    this.documents.set(path, document);
    this.length += lengthOf(path, document);
    for (const oldest of this.documents.keys()) {
      if (this.length <= MAX_LENGTH) break;
      this.delete(oldest);
    }
  }

  delete(path: string): void {
    const known = this.documents.get(path);
    if (known === undefined) return;
    this.documents.delete(path);
    this.length -= lengthOf(path, known);
  }

  clear(): void {
    this.documents.clear();
    this.length = 0;
  }
}

function lengthOf(path: string, { tag, values, list }: RememberedDocument): number {
  const items = list?.items ?? [];
  const listed = sum(items.map((item) => ITEM_LENGTH + textLength(item)));
  return ENTRY_LENGTH + path.length + tag.length + textLength(values) + listed;
}

function textLength(values: Values): number {
  return sum(values.map((value) => value?.length ?? 0));
}
