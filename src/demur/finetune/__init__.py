"""Fine-tuning for safety without over-rejection: `rrs`, and what it is compared with.

run.py         one method, one corpus, one model, one folder: `finetune(...)`
methods.py     what a method is, and what one is given
options.py     the choices that methods share, each with its published default
wordings.py    instructions, their paraphrases, refusals, safety prompts
data.py        questions of a corpus, in pairs; a part of them for validation
processes.py   several processes of one run
turns.py       how a question is put to a model
capture.py     representations, [N, d], taken once and kept
runlog.py      the log of a run
arithmetic.py  refusal shift, safety features, targets, penalty
objective.py   what a method that trains is trained on
own_answers.py what the base model answers
train.py       low-rank adapters, by transformers' Trainer (trainer.py); resumes after a kill
validate.py    refusal and over-rejection on the validation part; which candidate is best
candidates.py  ways to apply a method that trains nothing, tried one by one
plots.py       pictures of a finished run
rrs, sft, circuit_breaker, steer, safety_prompt   the methods, each registered under `demur.methods`
"""
