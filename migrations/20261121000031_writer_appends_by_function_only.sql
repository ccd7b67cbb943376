-- The contraction of the change before: programs that insert by themselves must have been stopped, they are refused
-- from here on. Existing chunks lose the right with their parent; new ones take theirs from it.
REVOKE INSERT ON public.log FROM obsqra_writer;
REVOKE UPDATE ON public.log_head FROM obsqra_writer;
