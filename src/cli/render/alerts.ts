import type { AlertView } from '../../client/types.ts';
import { suppressedText } from '../../core/alert/suppression.ts';
import { relative } from './text.ts';

/** What keeps notifications back, and until when: `silenced by ana, ends in 2h`. */
export function suppressedLine(suppressors: AlertView['suppressed_by'], now: number): string {
  const texts = suppressors.map((one) =>
    one.until === null
      ? suppressedText(one)
      : `${suppressedText(one)}, ends ${relative(one.until, now)}`,
  );
  return texts.join('; ') || '-';
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
