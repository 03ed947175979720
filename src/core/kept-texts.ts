/** Below so many bytes texts are not moved together. */
const LEAST = 65_536;

/** Where a text is. */
interface Place {
  at: number;
  length: number;
}

export type KeptText = Readonly<Place>;

/**
 * Texts as bytes in one buffer. As strings, those that live for minutes and are then dropped would let the
 * heap grow to a multiple of what they take, since only rare collections of the old generation find them.
 * The buffer is as large as it may become: the system gives it memory as far as it is used. One that grows
 * would leave holes.
 */
export class KeptTexts {
  private buffer: Buffer | null = null;
  private end = 0;
  private held = 0;
  /** In the order of their places. */
  private readonly places = new Set<Place>();

  /** @param most how many bytes the texts may be in all */
  constructor(private readonly most: number) {}

  /** The bytes of all texts. */
  get bytes(): number {
    return this.held;
  }

  /** How far the buffer is used: half as much again as the texts may be, at the most. */
  get used(): number {
    return this.end;
  }

  /** Throws RangeError where that is more than may be. */
  put(text: string): KeptText {
    const length = Buffer.byteLength(text);
    const needed = this.held + length;
    if (needed > this.most) throw new RangeError(`${needed} bytes of texts, of ${this.most}`);
    const buffer = (this.buffer ??= Buffer.allocUnsafeSlow(Math.ceil(1.5 * this.most)));
    // So each byte is moved once for each byte that is put, or for two where many are held.
    const room = Math.min(buffer.length, Math.max(LEAST, 2 * needed));
    if (this.end + length > room) this.moveTogether(buffer);
    const place = { at: this.end, length };
    buffer.write(text, place.at);
    this.end += length;
    this.held = needed;
    this.places.add(place);
    return place;
  }

  read({ at, length }: KeptText): string {
    return this.buffer?.toString('utf8', at, at + length) ?? '';
  }

  drop(text: KeptText): void {
    if (this.places.delete(text)) this.held -= text.length;
  }

  private moveTogether(buffer: Buffer): void {
    this.end = 0;
    for (const place of this.places) {
      buffer.copyWithin(this.end, place.at, place.at + place.length);
      place.at = this.end;
      this.end += place.length;
    }
  }
}
