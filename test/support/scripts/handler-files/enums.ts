// TypeScript that is more than types: Node does not run it.
// @ts-nocheck
enum Answer {
  Yes = 'yes',
}
export default () => Answer.Yes;
