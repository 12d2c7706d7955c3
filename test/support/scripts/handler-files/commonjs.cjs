exports.default = () => 'from CommonJS';
