import type { Figures } from './figures.ts';
import type { Ending } from './play.ts';
import { shortcomings, type Scoreboard } from './score.ts';

/** Every problem of the demo, a sentence each. */
export function problemsOf(board: Scoreboard, ending: Ending, { balance }: Figures): string[] {
  const { counts, owed, addsUp } = balance;
  const open = (counts['pending'] ?? 0) + (counts['dead'] ?? 0);
  return [
    ...shortcomings(board),
    ...unended(board, ending),
    ...(addsUp ? [] : [`${owed} webhooks were due, but the number of deliveries differs.`]),
    ...(open > 0 ? [`${open} deliveries are pending or dead.`] : []),
  ];
}

function unended(board: Scoreboard, { watches }: Ending): string[] {
  return board.members.flatMap(({ name, script, end }) => {
    const state = watches.get(script.id)?.state ?? 'missing';
    return state === end ? [] : [`The watch of the run that ${name} is ${state}, and not ${end}.`];
  });
}
