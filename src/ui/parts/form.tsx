import { session } from '../api/session.ts';
import { settings } from './settings.ts';

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
