import type { Output } from './output.ts';

/** Clears the line of a terminal, from its beginning. */
const CLEAR = '\r\u001b[2K';

/** One line of a terminal that says how far something is; elsewhere it says nothing. */
export class ProgressLine {
  private isShown = false;

  constructor(private readonly output: Output) {}

  show(text: string): void {
    const { output } = this;
    if (!output.isTty) return;
    // A line that wraps could not be cleared.
    output.write(CLEAR + output.colors.dim(text.slice(0, Math.max(0, output.columns - 1))));
    this.isShown = true;
  }

  /** Makes room for what is said next. */
  clear(): void {
    if (this.isShown) this.output.write(CLEAR);
    this.isShown = false;
  }
}
