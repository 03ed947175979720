import { useState } from 'preact/hooks';
import { messageOf } from '../api/request.ts';
import { session } from '../api/session.ts';
import { useIsShown } from './hooks.ts';
import { settings } from './settings.ts';
import { say } from './toast.tsx';

/** How long something is to last, as the API takes it, and as users read it. */
export const LENGTHS = [
  ['1h', '1 hour'],
  ['8h', '8 hours'],
  ['1d', '1 day'],
] as const;

/** The name that the user gave last; else that of the token. */
export function knownName(): string {
  return settings.peek().name || session.peek().token || '';
}

interface FieldProps {
  label: string;
  value: string;
  onInput: (text: string) => void;
}

interface TextFieldProps extends FieldProps {
  placeholder?: string;
  isRequired?: boolean;
  maxLength?: number;
}

/** A line of text with its label. */
export function TextField({
  label,
  value,
  onInput,
  placeholder = '',
  isRequired = false,
  maxLength = 500,
}: TextFieldProps) {
  return (
    <label>
      {label}
      <input
        value={value}
        placeholder={placeholder}
        required={isRequired}
        maxLength={maxLength}
        onInput={({ currentTarget }) => onInput(currentTarget.value)}
      />
    </label>
  );
}

interface SelectFieldProps extends FieldProps {
  /** Values with what they are called. */
  options: readonly (readonly [string, string])[];
}

/** One of several values, with its label. */
export function SelectField({ label, value, onInput, options }: SelectFieldProps) {
  return (
    <label>
      {label}
      <select value={value} onChange={({ currentTarget }) => onInput(currentTarget.value)}>
        {options.map(([option, name]) => (
          <option key={option} value={option}>
            {name}
          </option>
        ))}
      </select>
    </label>
  );
}

/**
 * Sends a form once, however often it is submitted before the answer. A form that is still shown then is closed, or says
 * what is wrong.
 * @param done the message for the user
 */
export function useSubmit(send: () => Promise<unknown>, done: string, close: () => void) {
  const [isBusy, setBusy] = useState(false);
  const [problem, setProblem] = useState<string | null>(null);
  const isShown = useIsShown();
  const submit = async () => {
    setBusy(true);
    setProblem(null);
    try {
      await send();
      say(done);
      if (isShown.current) close();
    } catch (error) {
      if (isShown.current) setProblem(messageOf(error));
      else say(messageOf(error), { isError: true });
    }
    if (isShown.current) setBusy(false);
  };
  return {
    isBusy,
    problem,
    onSubmit: (event: Event) => {
      event.preventDefault();
      if (!isBusy) void submit();
    },
  };
}

/** What is wrong with what was sent. */
export function Problem({ text }: { text: string | null }) {
  if (text === null) return null;
  return (
    <p class="problem" role="alert">
      {text}
    </p>
  );
}
