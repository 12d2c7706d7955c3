export const handler = () => 'named';
