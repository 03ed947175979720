import type { Line } from './line.ts';
import type { View } from './table.ts';

/** Where the demo prints its progress. */
export interface Display {
  /** Prints a permanent line. */
  write(line: Line): void;
  /** Shows the present state. */
  update(view: View): void;
  /** Leaves the table on the screen and restores the cursor; lines go on below it. */
  close(): void;
}
