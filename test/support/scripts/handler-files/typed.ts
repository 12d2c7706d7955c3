// A handler file in TypeScript, which Node runs by erasing its types.
import { deadLetter, type Handler } from 'howdah';

interface Order {
  readonly n: number;
}

const handler: Handler<Order> = ({ payload }, { progress }) => {
  progress(payload.n as number);
  return payload.n < 0 ? deadLetter('negative') : { double: payload.n * 2 };
};
export default handler;
