import type { Line } from './line.ts';
import type { View } from './table.ts';

/** Where the demo shows what happens. */
export interface Display {
  /** A line that stays. */
  write(line: Line): void;
  /** How things stand now. */
  update(view: View): void;
  /** Leaves the table as it stands and gives the cursor back; lines go on below it. */
  close(): void;
}
