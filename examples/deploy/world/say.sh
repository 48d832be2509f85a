#!/usr/bin/env bash
# Stands for the message to everybody.
echo "$*" >> "${0%/*}/../outbox.txt"
