import { afterAll, beforeAll, beforeEach, describe, expect, jest, test } from '@jest/globals';
import { released, startPress } from '../../src/ui/app/press.ts';

/** The window of a browser, as far as a press has to do with it. */
const page = Object.assign(new EventTarget(), {
  setTimeout: (end: () => void, ms: number) => setTimeout(end, ms),
  clearTimeout: (timer: NodeJS.Timeout) => clearTimeout(timer),
});

const isPressed = () => released() !== undefined;
const tell = (name: string, fields: object = {}) =>
  page.dispatchEvent(Object.assign(new Event(name), fields));

/** A field has another value. */
function changed(localName: string): void {
  const event = new Event('change');
  Object.defineProperty(event, 'target', { value: { localName } });
  page.dispatchEvent(event);
}

beforeAll(() => {
  jest.useFakeTimers();
  Object.assign(globalThis, { window: page });
  startPress();
});

afterAll(() => {
  jest.useRealTimers();
  Reflect.deleteProperty(globalThis, 'window');
});

beforeEach(() => {
  tell('pointerdown');
  expect(isPressed()).toBe(true);
});

describe('a press', () => {
  test('holds until what its click asks for is done', async () => {
    const heard: string[] = [];
    const waiting = released()?.then(() => heard.push('an answer'));
    tell('pointerup');
    page.addEventListener('click', () => heard.push('the click'), { once: true });
    tell('click');
    expect(isPressed()).toBe(true);
    jest.advanceTimersByTime(0);
    await waiting;
    expect(heard).toEqual(['the click', 'an answer']);
  });

  test('of a finger holds until its click may have come', () => {
    tell('pointerup');
    jest.advanceTimersByTime(300);
    expect(isPressed()).toBe(true);
    jest.advanceTimersByTime(50);
    expect(isPressed()).toBe(false);
  });

  test('holds as long as it lasts, though another one was released just before', () => {
    tell('pointerup');
    tell('pointerdown');
    jest.advanceTimersByTime(350);
    expect(isPressed()).toBe(true);
  });

  test('on a list of options ends once the field has taken the option', () => {
    changed('select');
    expect(isPressed()).toBe(true);
    jest.advanceTimersByTime(0);
    expect(isPressed()).toBe(false);
  });

  test('that takes the focus from a text field goes on', () => {
    changed('input');
    jest.advanceTimersByTime(0);
    expect(isPressed()).toBe(true);
  });

  test('goes on while the pointer moves with its button down', () => {
    tell('pointermove', { buttons: 1 });
    expect(isPressed()).toBe(true);
  });

  test.each([
    ['a scroll or a drag begins', 'pointercancel', {}],
    ['a menu is shown', 'contextmenu', {}],
    ['the pointer comes back with no button down', 'pointermove', { buttons: 0 }],
    ['a key is pressed', 'keydown', {}],
    ['the window is left', 'blur', {}],
  ])('ends as %s', (_, name, fields) => {
    tell(name, fields);
    expect(isPressed()).toBe(false);
  });

  test('whose end never comes holds back nothing after half a minute', () => {
    jest.advanceTimersByTime(30_000);
    expect(isPressed()).toBe(false);
  });
});
