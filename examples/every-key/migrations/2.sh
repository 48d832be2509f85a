echo two >> schema
