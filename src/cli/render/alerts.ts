import type { AlertView } from '../../client/types.ts';
import { suppressedText } from '../../core/alert/suppression.ts';
import type { Column } from './table.ts';
import { clockText } from './text.ts';

/** What keeps notifications back, and until when: `silenced by ana until 21:13Z`. */
export function suppressedLine(suppressors: AlertView['suppressed_by'], now: number): string {
  const texts = suppressors.map((one) =>
    one.until === null
      ? suppressedText(one)
      : `${suppressedText(one)} until ${clockText(one.until, now)}`,
  );
  return texts.join('; ') || '-';
}

type Suppressed = Partial<Pick<AlertView, 'suppressed_by'>>;

/** What keeps the notifications of each back; no column where nothing does. */
export function suppressedColumn(rows: readonly Suppressed[], now: number): Column<Suppressed>[] {
  if (rows.every(({ suppressed_by: by = [] }) => by.length === 0)) return [];
  return [{ head: 'SUPPRESSED', value: ({ suppressed_by: by = [] }) => suppressedLine(by, now) }];
}

/** The labels, with the name of the workflow where it is known. */
export function labelsText({
  labels,
  runs,
}: Pick<AlertView, 'labels'> & { runs?: AlertView['runs'] }) {
  const name = runs?.[0]?.name ?? null;
  const texts = Object.entries(labels).map(([label, value]) =>
    label === 'workflow_id' && name !== null ? `workflow=${name}` : `${label}=${value}`,
  );
  return texts.length === 0 ? '-' : texts.join(' ');
}
