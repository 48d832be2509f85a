// axios, which sends once, and reads the proxy from the environment by itself.
'use strict';

const axios = require('axios');

const [url, order] = process.argv.slice(2);
axios.post(url, { order }).then((answer) => console.log(JSON.stringify(answer.data)));
