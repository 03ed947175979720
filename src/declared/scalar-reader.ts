import type { JsonPath } from '../core/source/json-path.ts';

/** Longest text or number that is read, bytes: 1,024 characters, each of them escaped. */
const MAX_BYTES = 6_144;

/** Longest text that is read, characters. */
const MAX_LENGTH = 1_024;

/**
 * The most values of containers that paths lead through. They take up to 15 times as long as what is passed
 * over, so that a document of nothing else would keep the process busy for seconds.
 */
const MOST_VALUES = 250_000;

/** Strings are looked through byte by byte up to here; beyond it a search in native code is faster. */
const SHORT_STRING = 32;

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COMMA = 0x2c;
const COLON = 0x3a;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;
const SPACE = 0x20;

const WHITE_SPACE: ReadonlySet<number> = new Set([SPACE, 0x0a, 0x0d, 0x09]);

const BYTE_ORDER_MARK = [0xef, 0xbb, 0xbf];

/** A literal of JSON that is no string. */
const LITERAL = /^(?:true|false|null|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?)$/;

/** What is the same in any encoding, and without escapes. */
const PLAIN = /^[ !#-[\]-~]*$/;

/** A place in a document to which, or through which, a path leads. */
interface PathNode {
  readonly names: Map<string, PathNode>;
  readonly items: Map<number, PathNode>;
  /** Where each item of the array is led to that stands here; null where no list is read. */
  every: PathNode | null;
  /** Whether a list is read at this place or beneath it. */
  holdsList: boolean;
  /** The place of its scalar among the values; null where no path ends here. */
  slot: number | null;
  /** The slots at this place and beneath it. */
  readonly slots: number[];
}

function newNode(): PathNode {
  return {
    names: new Map(),
    items: new Map(),
    every: null,
    holdsList: false,
    slot: null,
    slots: [],
  };
}

/**
 * Paths of one kind of document, of which each has a slot for the scalar that stands there. Of one list in it, the
 * scalars of each item are read by a tree of their own.
 */
export class PathTree {
  readonly root = newNode();
  #size = 0;
  #itemTree: PathTree | null = null;

  /** The number of slots. */
  get size(): number {
    return this.#size;
  }

  /** The slot of a path: the same where the path was added before. */
  add(path: JsonPath): number {
    const way = [this.root];
    let node = this.root;
    for (const key of path) {
      node = childOf(node, key);
      way.push(node);
    }
    if (node.slot !== null) return node.slot;
    const slot = this.#size++;
    node.slot = slot;
    for (const one of way) one.slots.push(slot);
    return slot;
  }

  /** Has the items of a list read. @param path to the list; empty where the document is the list */
  addList(path: JsonPath, itemTree: PathTree): void {
    let node = this.root;
    node.holdsList = true;
    for (const key of path) {
      node = childOf(node, key);
      node.holdsList = true;
    }
    node.every = itemTree.root;
    this.#itemTree = itemTree;
  }

  /** The number of slots of each item; 0 where no list is read. */
  get itemSize(): number {
    return this.#itemTree?.size ?? 0;
  }
}

function childOf({ names, items }: PathNode, key: string | number): PathNode {
  const known = typeof key === 'number' ? items.get(key) : names.get(key);
  const child = known ?? newNode();
  if (typeof key === 'number') items.set(key, child);
  else names.set(key, child);
  return child;
}

/** What is read next within the containers that paths lead through. */
type Expected = 'value' | 'name' | 'colon' | 'comma' | 'nothing';

/** What a document comes to. `cut`: it ends too early. `crowded`: it has more values than are looked at. */
export type Scalars =
  | {
      is: 'json';
      values: ScalarValues;
      /** The scalars of each item of the list; null where none stands there. */
      items: readonly ScalarValues[] | null;
    }
  | { is: 'empty' | 'cut' | 'crowded' | 'invalid' };

/** The scalars of a document, or of an item of its list, by their slots. */
type ScalarValues = readonly (string | null)[];

/** A container that paths lead through. */
interface Followed {
  node: PathNode;
  isArray: boolean;
  /** The items that have begun. */
  count: number;
  /** Where the value that is read next is led to; null for nowhere. */
  next: PathNode | null;
}

/**
 * Reads the scalars at configured paths off the wire; nothing else of a document is kept or leaves it, however
 * large it is. A scalar is a text: numbers as they are written, so that none loses digits. It is null where
 * nothing stands there, or `null`, an object, an array, or more than 1,024 characters. Where a name
 * occurs twice, the last one counts, as for JSON.parse. What no path leads to is passed over without being checked.
 */
export class ScalarReader {
  readonly #values: (string | null)[];
  /** The items of the list that have begun; null where no list has. */
  #items: (string | null)[][] | null = null;
  readonly #itemSize: number;
  readonly #mostItems: number;
  /** How many of them have ended. */
  #wholeItems = 0;
  #isFull = false;
  /** What scalars are read into: the values of the document, or of an item. */
  #target: (string | null)[];
  readonly #open: Followed[] = [];
  readonly #root: PathNode;
  #expected: Expected = 'value';
  /** Whether a container has just begun, which may end at once. */
  #isFirst = false;
  /** How many containers are open that no path leads to. */
  #passedOver = 0;
  /** What the bytes now belong to. */
  #within: 'string' | 'literal' | null = null;
  /** Whether the string is kept, since it is a name or a wanted value. */
  #isKept = false;
  #isName = false;
  #isEscaped = false;
  #kept = Buffer.allocUnsafe(64);
  #length = 0;
  #isTooLong = false;
  #isInvalid = false;
  /** How many values of containers that paths lead through have begun. */
  #begun = 0;
  /** How many bytes of a byte order mark have come; null once the document has begun. */
  #mark: number | null = 0;

  /** @param mostItems of the list, beyond which nothing is read */
  constructor(tree: PathTree, mostItems = Infinity) {
    this.#root = tree.root;
    this.#values = Array.from({ length: tree.size }, () => null);
    this.#target = this.#values;
    this.#itemSize = tree.itemSize;
    this.#mostItems = mostItems;
  }

  /** Whether the list goes on beyond the items that are read: nothing more is taken in. */
  get isFull(): boolean {
    return this.#isFull;
  }

  /** The items of the list that have ended, also of a document that is not taken in to its end. */
  wholeItems(): readonly ScalarValues[] {
    return (this.#items ?? []).slice(0, this.#wholeItems);
  }

  push(piece: Buffer): void {
    let at = this.#mark === null ? 0 : this.#skipMark(piece);
    while (at < piece.length && !this.#isInvalid && !this.#isFull) {
      if (this.#within === 'string') at = this.#readString(piece, at);
      else if (this.#passedOver > 0) at = this.#passOver(piece, at);
      else if (this.#within === 'literal') at = this.#readLiteral(piece, at);
      else this.#step(piece[at++] ?? 0);
    }
  }

  /** Ends the document. */
  end(): Scalars {
    if (this.#within === 'literal' && this.#open.length === 0) this.#endLiteral();
    if (this.#isInvalid) return { is: this.#begun > MOST_VALUES ? 'crowded' : 'invalid' };
    if (this.#expected === 'nothing') {
      return { is: 'json', values: this.#values, items: this.#items };
    }
    const isEmpty = this.#open.length + this.#passedOver === 0 && this.#within === null;
    return { is: isEmpty ? 'empty' : 'cut' };
  }

  /** @returns where the document goes on */
  #skipMark(piece: Buffer): number {
    let at = 0;
    while (at < piece.length && this.#mark !== null) {
      if (piece[at] !== BYTE_ORDER_MARK[this.#mark]) {
        this.#isInvalid = this.#mark > 0;
        this.#mark = null;
        return at;
      }
      at += 1;
      this.#mark = this.#mark === 2 ? null : this.#mark + 1;
    }
    return at;
  }

  /** Takes a byte between tokens, in a container that paths lead through. */
  #step(byte: number): void {
    if (byte <= SPACE) {
      if (!WHITE_SPACE.has(byte)) this.#refuse();
      return;
    }
    const mayClose = this.#isFirst || this.#expected === 'comma';
    this.#isFirst = false;
    if (mayClose && isClosing(byte)) this.#close(byte);
    else this.#begin(byte);
  }

  #begin(byte: number): void {
    switch (this.#expected) {
      case 'value':
        this.#begun += 1;
        return this.#begun > MOST_VALUES ? this.#refuse() : this.#beginValue(byte);
      case 'name':
        return this.#beginName(byte);
      case 'colon':
        return byte === COLON ? this.#expect('value') : this.#refuse();
      case 'comma':
        return byte === COMMA ? this.#expect(this.#member()) : this.#refuse();
      case 'nothing':
        return this.#refuse();
    }
  }

  #expect(expected: Expected): void {
    this.#expected = expected;
  }

  /** What an item or member of the container begins with. */
  #member(): Expected {
    return this.#open.at(-1)?.isArray === true ? 'value' : 'name';
  }

  #refuse(): void {
    this.#isInvalid = true;
  }

  #beginName(byte: number): void {
    if (byte !== QUOTE) return this.#refuse();
    this.#beginString(true);
    this.#isName = true;
  }

  #beginValue(byte: number): void {
    const node = this.#nodeOfValue();
    if (this.#isFull) return;
    // A name that occurs again takes back what stood there.
    if (node !== null) this.#takeBack(node);
    const isWanted = node !== null && node.slot !== null;
    switch (byte) {
      case QUOTE:
        return this.#beginString(isWanted);
      case OPEN_BRACE:
      case OPEN_BRACKET:
        return this.#enter(node, byte === OPEN_BRACKET);
      default:
        this.#within = 'literal';
        this.#length = 0;
        this.#isTooLong = false;
        this.#keepByte(byte);
    }
  }

  #takeBack({ slots, holdsList }: PathNode): void {
    for (const slot of slots) this.#target[slot] = null;
    if (!holdsList) return;
    this.#items = null;
    this.#wholeItems = 0;
  }

  /** Where the value that begins is led to. */
  #nodeOfValue(): PathNode | null {
    const container = this.#open.at(-1);
    if (container === undefined) return this.#root;
    const { node, isArray } = container;
    if (isListOf(container)) {
      this.#beginItem();
      container.next = node.every;
    } else if (isArray) container.next = node.items.get(container.count++) ?? null;
    return container.next;
  }

  #beginItem(): void {
    this.#items ??= [];
    if (this.#items.length >= this.#mostItems) {
      this.#isFull = true;
      return;
    }
    this.#target = Array.from({ length: this.#itemSize }, () => null);
    this.#items.push(this.#target);
  }

  #enter(node: PathNode | null, isArray: boolean): void {
    const isList = isArray && node !== null && node.every !== null;
    if (isList) this.#items = [];
    else if (node === null || (isArray ? node.items : node.names).size === 0) {
      this.#passedOver = 1;
      return;
    }
    this.#open.push({ node, isArray, count: 0, next: null });
    this.#isFirst = true;
    this.#expected = this.#member();
  }

  #close(byte: number): void {
    const container = this.#open.pop();
    if (container === undefined) return this.#refuse();
    if (byte !== (container.isArray ? CLOSE_BRACKET : CLOSE_BRACE)) return this.#refuse();
    if (isListOf(container)) this.#target = this.#values;
    this.#afterValue();
  }

  #afterValue(): void {
    const container = this.#open.at(-1);
    this.#expected = container === undefined ? 'nothing' : 'comma';
    if (container !== undefined && isListOf(container)) this.#wholeItems += 1;
  }

  /** Goes through containers that no path leads to, counting brackets. */
  #passOver(piece: Buffer, from: number): number {
    let at = from;
    let depth = this.#passedOver;
    while (at < piece.length && depth > 0) {
      const byte = piece[at];
      at += 1;
      if (byte === QUOTE) {
        const end = endOfString(piece, at);
        if (end === -1) {
          this.#beginString(false);
          this.#passedOver = depth;
          return this.#readString(piece, at);
        }
        at = end + 1;
      } else if (byte === OPEN_BRACE || byte === OPEN_BRACKET) depth += 1;
      else if (byte === CLOSE_BRACE || byte === CLOSE_BRACKET) depth -= 1;
    }
    this.#passedOver = depth;
    if (depth === 0) this.#afterValue();
    return at;
  }

  #beginString(isKept: boolean): void {
    this.#within = 'string';
    this.#isKept = isKept;
    this.#isName = false;
    this.#isEscaped = false;
    this.#isTooLong = false;
    this.#length = 0;
  }

  /** @returns where the piece goes on after the string, or its part in it */
  #readString(piece: Buffer, from: number): number {
    let start = from;
    if (this.#isEscaped) {
      this.#keep(piece, from, from + 1);
      this.#isEscaped = false;
      start += 1;
    }
    const end = endOfString(piece, start);
    const stop = end === -1 ? piece.length : end;
    this.#keep(piece, start, stop);
    if (end === -1) {
      this.#isEscaped = isEscaped(piece, start, stop);
      return stop;
    }
    this.#within = null;
    if (this.#passedOver > 0) return end + 1;
    if (this.#isName) this.#endName();
    else this.#endText();
    return end + 1;
  }

  #endName(): void {
    const container = this.#open.at(-1);
    if (container === undefined) return this.#refuse();
    const name = this.#text();
    container.next = name === null ? null : (container.node.names.get(name) ?? null);
    this.#expected = 'colon';
  }

  #endText(): void {
    const slot = this.#slotOfValue();
    if (this.#isKept && slot !== null) {
      const text = this.#text();
      this.#target[slot] = text !== null && text.length <= MAX_LENGTH ? text : null;
    }
    this.#afterValue();
  }

  #slotOfValue(): number | null {
    const container = this.#open.at(-1);
    return (container === undefined ? this.#root : container.next)?.slot ?? null;
  }

  /** The string that was kept; null where it is too long, or no string of JSON. */
  #text(): string | null {
    if (this.#isTooLong) return null;
    const plain = this.#kept.toString('latin1', 0, this.#length);
    if (PLAIN.test(plain)) return plain;
    try {
      return JSON.parse(`"${this.#kept.toString('utf8', 0, this.#length)}"`) as string;
    } catch {
      this.#refuse();
      return null;
    }
  }

  #readLiteral(piece: Buffer, from: number): number {
    let at = from;
    while (at < piece.length && !endsLiteral(piece[at] ?? 0)) at += 1;
    this.#isKept = true;
    this.#keep(piece, from, at);
    if (at < piece.length) this.#endLiteral();
    return at;
  }

  #endLiteral(): void {
    this.#within = null;
    const slot = this.#slotOfValue();
    if (!this.#isTooLong) {
      const text = this.#kept.toString('latin1', 0, this.#length);
      if (!LITERAL.test(text)) return this.#refuse();
      if (slot !== null && text !== 'null' && text.length <= MAX_LENGTH) this.#target[slot] = text;
    }
    this.#afterValue();
  }

  #keepByte(byte: number): void {
    this.#kept[this.#length++] = byte;
  }

  #keep(piece: Buffer, from: number, to: number): void {
    if (!this.#isKept || this.#isTooLong) return;
    const length = this.#length + to - from;
    if (length > MAX_BYTES) {
      this.#isTooLong = true;
      return;
    }
    if (length > this.#kept.length) {
      const larger = Buffer.allocUnsafe(Math.min(MAX_BYTES, length * 2));
      this.#kept.copy(larger, 0, 0, this.#length);
      this.#kept = larger;
    }
    piece.copy(this.#kept, this.#length, from, to);
    this.#length = length;
  }
}

/** Whether a container is the list of which items are read. */
function isListOf({ isArray, node }: Followed): boolean {
  return isArray && node.every !== null;
}

function isClosing(byte: number): boolean {
  return byte === CLOSE_BRACKET || byte === CLOSE_BRACE;
}

function endsLiteral(byte: number): boolean {
  return (
    byte <= SPACE ||
    byte === COMMA ||
    byte === CLOSE_BRACE ||
    byte === CLOSE_BRACKET ||
    byte === QUOTE ||
    byte === COLON ||
    byte === OPEN_BRACE ||
    byte === OPEN_BRACKET
  );
}

/** Where the quote stands that ends a string; -1 where this piece has none. */
function endOfString(piece: Buffer, from: number): number {
  const soon = Math.min(piece.length, from + SHORT_STRING);
  for (let at = from; at < soon; at += 1) {
    const byte = piece[at];
    if (byte === QUOTE) return at;
    // The next byte is escaped, whatever it is.
    if (byte === BACKSLASH) at += 1;
  }
  // The place may be within an escape, so that the search begins where the string does.
  let end = piece.indexOf(QUOTE, from);
  while (end !== -1 && isEscaped(piece, from, end)) end = piece.indexOf(QUOTE, end + 1);
  return end;
}

/** Whether an odd number of backslashes stands before a place in a string. */
function isEscaped(piece: Buffer, from: number, place: number): boolean {
  let first = place;
  while (first > from && piece[first - 1] === BACKSLASH) first -= 1;
  return (place - first) % 2 === 1;
}
