/** Bytes to begin with. */
const LEAST = 65_536;

/** Above this share of the room texts are not moved together: that would be due again soon. */
const MOVED_SHARE = 0.75;

/** Where a text is. */
interface Place {
  at: number;
  length: number;
}

export type KeptText = Readonly<Place>;

/**
 * Texts as bytes in one buffer. As strings, those that live for minutes and are then dropped would let the
 * heap grow to a multiple of what they take, since only rare collections of the old generation find them.
 */
export class KeptTexts {
  private buffer = Buffer.allocUnsafeSlow(LEAST);
  private end = 0;
  private held = 0;
  /** In the order of their places. */
  private readonly places = new Set<Place>();

  /** @param most how many bytes the texts are in all; the buffer takes half as much more */
  constructor(private readonly most: number) {}

  /** The bytes of all texts. */
  get bytes(): number {
    return this.held;
  }

  /** What the buffer takes. */
  get room(): number {
    return this.buffer.length;
  }

  put(text: string): KeptText {
    const length = Buffer.byteLength(text);
    this.makeRoom(length);
    const place = { at: this.end, length };
    this.buffer.write(text, place.at);
    this.end += length;
    this.held += length;
    this.places.add(place);
    return place;
  }

  read({ at, length }: KeptText): string {
    return this.buffer.toString('utf8', at, at + length);
  }

  drop(text: KeptText): void {
    if (this.places.delete(text)) this.held -= text.length;
  }

  private makeRoom(length: number): void {
    const { buffer } = this;
    if (this.end + length <= buffer.length) return;
    const needed = this.held + length;
    const grown = Math.min(2 * buffer.length, 1.5 * this.most);
    const isFull = needed > MOVED_SHARE * buffer.length;
    if (isFull) this.buffer = Buffer.allocUnsafeSlow(Math.max(buffer.length, grown, needed));
    this.moveTogether(buffer);
  }

  private moveTogether(from: Buffer): void {
    this.end = 0;
    for (const place of this.places) {
      from.copy(this.buffer, this.end, place.at, place.at + place.length);
      place.at = this.end;
      this.end += place.length;
    }
  }
}
