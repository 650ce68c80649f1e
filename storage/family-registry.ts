/** Families by URI scheme. No code elsewhere knows a family by name (FAM-6). */
import { fail } from '../core/errors.ts';
import type {
  Family,
  Instance,
  InstanceUris,
  OpenContext,
  OpenMode,
  StagingInstance,
} from './contracts.ts';
import { parseUri } from './instance-uris.ts';

export class FamilyRegistry {
  readonly #byScheme = new Map<string, Family>();

  constructor(families: readonly Family[]) {
    for (const family of families) {
      for (const scheme of family.schemes) this.#byScheme.set(scheme, family);
    }
  }

  get families(): readonly Family[] {
    return [...new Set(this.#byScheme.values())];
  }

  /**
   * The one family of the three URIs.
   * @throws `uri.invalid`, `uri.unknown-scheme`, `uri.mixed-families`
   */
  familyOf(uris: InstanceUris): Family {
    const given = [uris.log, uris.meta, uris.snapshot].filter((uri) => uri !== '');
    const families = new Set(given.map((uri) => this.#familyOfUri(uri)));
    const [family] = families;
    if (family === undefined || families.size > 1) {
      throw fail('uri.mixed-families', { actual: given.join(', ') });
    }
    return family;
  }

  /** The instance that a short form such as `local:///data/a` names. */
  expand(uri: string): InstanceUris {
    return this.#familyOfUri(uri).expand(uri);
  }

  async open(uris: InstanceUris, mode: OpenMode, context: OpenContext): Promise<Instance> {
    return this.familyOf(uris).open(uris, mode, context);
  }

  async stage(uris: InstanceUris, context: OpenContext): Promise<StagingInstance> {
    return this.familyOf(uris).stage(uris, context);
  }

  #familyOfUri(uri: string): Family {
    const { scheme } = parseUri(uri);
    const family = this.#byScheme.get(scheme);
    if (family === undefined) {
      const known = [...this.#byScheme.keys()].join(', ');
      throw fail('uri.unknown-scheme', { uri, scheme, known });
    }
    return family;
  }
}
