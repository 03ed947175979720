import { describe, expect, test } from '@jest/globals';
import { workflowEntry, workflowsWithEntry } from '../../src/core/run/workflow-entry.ts';

describe('entries of workflows', () => {
  const config = {
    sources: { default: {}, acme: {} },
    workflows: {
      shop: { name: 'any shop' },
      'acme/shop': { name: "acme's shop" },
      'other/shop': { name: 'another shop' },
      'acme/other/shop': { name: "acme's other shop" },
    },
  };
  const nameOf = (from: string, workflowId: string) =>
    workflowEntry(config, { source: from, workflowId })?.name;

  test('an entry for a source goes before one for any source', () => {
    expect(nameOf('acme', 'shop')).toBe("acme's shop");
    expect(nameOf('default', 'shop')).toBe('any shop');
    expect(nameOf('acme', 'other/shop')).toBe("acme's other shop");
    expect(nameOf('default', 'other/shop')).toBe('another shop');
  });

  test('an entry that names a configured source is for no workflow of another one', () => {
    expect(nameOf('default', 'acme/shop')).toBeUndefined();
    expect(nameOf('other', 'shop')).toBe('any shop');
    expect(nameOf('default', 'toString')).toBeUndefined();
  });

  test('the workflows that have an entry are known by their ids', () => {
    expect(workflowsWithEntry(config)).toEqual(['shop', 'other/shop']);
  });
});
