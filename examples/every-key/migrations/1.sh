echo one >> schema
