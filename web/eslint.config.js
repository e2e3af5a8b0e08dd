import js from '@eslint/js';
import svelte from 'eslint-plugin-svelte';
import globals from 'globals';
import ts from 'typescript-eslint';
import svelteConfig from './svelte.config.js';

/** Imports point ui → state → core; `core` needs neither a framework nor a document. */
const forbidUpward = (...groups) => [
  'error',
  { patterns: groups.map((group) => ({ group: [group], message: 'Imports point ui → state → core.' })) },
];

export default ts.config(
  { ignores: ['dist/', 'node_modules/', 'src/core/protocol/generated/'] },
  js.configs.recommended,
  ...ts.configs.strict,
  ...svelte.configs.recommended,
  {
    languageOptions: {
      globals: { ...globals.browser, ...globals.worker },
      parserOptions: {
        projectService: { allowDefaultProject: ['*.js', '*.config.ts', 'first_load.ts', 'compress.ts', 'preload.ts', 'service_worker_build.ts'] },
        tsconfigRootDir: import.meta.dirname,
        extraFileExtensions: ['.svelte'],
      },
    },
    rules: {
      '@typescript-eslint/no-explicit-any': 'error',
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_', varsIgnorePattern: '^_' }],
      'no-undef': 'off',
      eqeqeq: 'error',
      'no-console': 'error',
    },
  },
  {
    files: ['**/*.svelte', '**/*.svelte.ts'],
    languageOptions: { parserOptions: { parser: ts.parser, svelteConfig } },
    // Accessibility warnings of the compiler are errors here.
    rules: { 'svelte/valid-compile': ['error', { ignoreWarnings: false }] },
  },
  {
    files: ['src/**/*.ts'],
    rules: {
      '@typescript-eslint/switch-exhaustiveness-check': [
        'error',
        { considerDefaultExhaustiveForUnions: true },
      ],
      '@typescript-eslint/no-floating-promises': 'error',
      '@typescript-eslint/no-misused-promises': 'error',
      '@typescript-eslint/await-thenable': 'error',
    },
  },
  {
    files: ['src/core/**/*.ts'],
    rules: {
      'no-restricted-imports': forbidUpward('**/ui/**', '**/state/**', 'svelte', 'svelte/*'),
      '@typescript-eslint/consistent-type-assertions': ['error', { assertionStyle: 'never' }],
    },
  },
  { files: ['src/state/**/*.ts'], rules: { 'no-restricted-imports': forbidUpward('**/ui/**') } },
  {
    files: ['*.js', '*.config.ts', 'first_load.ts', 'compress.ts', 'preload.ts', 'service_worker_build.ts'],
    languageOptions: { globals: globals.node },
  },
);
